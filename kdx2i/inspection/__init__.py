"""What looks at results and keeps them, and makes none: show, verify, restore, reference, ship."""
