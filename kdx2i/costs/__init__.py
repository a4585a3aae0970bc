"""What the results of a preset cost: counted, measured and computed figures, and the page and the file of them."""
