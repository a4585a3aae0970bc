"""One adapter a family of fixtures; a module here is named like the family's folder (see harness.Adapter)."""
