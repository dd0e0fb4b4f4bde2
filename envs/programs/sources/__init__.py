"""Where programs are fetched or generated from, one module each."""
