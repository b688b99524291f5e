"""Search: filters and sort keys compiled to SQL, and the records that satisfy them."""
