"""Histories of the controllers' quorum alone."""
