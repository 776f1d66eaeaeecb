"""The API for case systems: `openapi.json` beside this package is the norm; what is here translates and decides nothing."""
