"""What methods share that draw images from label maps."""
