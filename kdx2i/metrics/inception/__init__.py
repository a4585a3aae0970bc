"""The Inception Score under the published conventions."""
