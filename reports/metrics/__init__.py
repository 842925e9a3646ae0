"""Figures of a cell and of its pair with its baseline, each with its interval.

A new figure goes here first; page and console only show it."""
