"""What the comparison is made with: processes, an upstream, the proxies, and who loads them."""
