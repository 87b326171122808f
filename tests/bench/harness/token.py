"""One caller and the token that proves it."""

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path

from .processes import run

ISSUER = "https://issuer.example"
AUDIENCE = "llm-gateway"
CONSUMER = "caller"
API_KEY = "the-caller-s-key"
LIFETIME = 6 * 3600
"""Seconds; longer than any measurement, shorter than what llm-jwt accepts."""


@dataclass(frozen=True)
class SignedToken:
    """An RS256 token and the PEM public key that verifies it."""

    token: str
    public_key: str


def mint(directory: Path) -> SignedToken:
    """Makes an RSA key of 2048 bits in `directory` and signs one token with it."""
    key = directory / "issuer.pem"
    run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    public_key = run("openssl", "pkey", "-in", key, "-pubout").decode()
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": CONSUMER, "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME, "tenant": "acme"}
    signed = f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}"
    signature = run("openssl", "dgst", "-sha256", "-sign", key, stdin=signed.encode())
    return SignedToken(f"{signed}.{base64url(signature)}", public_key)


def part(value: dict[str, object]) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode())


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
