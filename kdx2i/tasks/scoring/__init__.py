"""How trained models of each task are asked for images and scored; what training needs stands one room higher.

Apart, because a run must not depend on the code of metrics: it would be stale after each change of one.
"""
