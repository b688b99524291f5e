"""What a store can do, a shelf per noun; `runbase.client.Store` is all of them together."""
