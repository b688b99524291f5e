"""The adapters of training tools with the real tools: `make test-integrations`."""
