"""The command line `safehand`: one module for each group of commands; `main` joins them."""
