"""Cost models: what one event on a component costs, and the area and leakage of an instance."""
