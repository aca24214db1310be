"""Version control for time series and other indexed tables, on Arrow."""

__version__ = "0.1.0"
