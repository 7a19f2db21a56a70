"""Layer types; a new layer is one file here and one line in each importer's table."""
