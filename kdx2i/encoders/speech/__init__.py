"""The speech encoder of S2IGAN (Wang et al. 2020) and the image encoder that it is trained against."""
