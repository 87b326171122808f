-- It does nothing to requests: it is there for the kinds of entities that it brings.
return {
  PRIORITY = 1,
  VERSION = "0.1.0",
}
