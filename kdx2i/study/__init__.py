"""The user study of Figure 3(c): a static page for the forced choice, and the analysis of its answers."""
