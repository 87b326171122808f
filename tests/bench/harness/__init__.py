"""How tests/bench/gateway measures."""
