"""The ladder: real images under growing damage, which every extractor and distance must put in order."""
