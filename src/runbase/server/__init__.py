"""An HTTP server for a store: the API of the page, remote storage, live events."""
