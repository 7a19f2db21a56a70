"""The architecture: the pydantic models of arch/*.yaml and their loader."""
