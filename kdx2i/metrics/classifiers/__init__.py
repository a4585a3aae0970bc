"""The classifiers behind RC and FC."""
