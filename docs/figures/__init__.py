"""The pictures of the chapters, computed while the site is built. One module per chapter; each function returns HTML."""
