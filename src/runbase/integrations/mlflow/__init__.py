"""MLflow: readers of its folders, databases and servers."""
