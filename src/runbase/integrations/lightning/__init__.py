"""Lightning: the reader of its CSVLogger folders."""
