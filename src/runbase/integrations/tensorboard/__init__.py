"""TensorBoard: the reader of its event files."""
