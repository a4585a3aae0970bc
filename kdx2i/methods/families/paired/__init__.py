"""What methods share whose condition belongs to one image: captions, utterances and label maps."""
