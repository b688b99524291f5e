"""Faces for people who come from other tools, and callbacks for the frameworks they use: one file each."""
