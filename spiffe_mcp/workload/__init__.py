"""Who a local process is: what the kernel says of it, and never what it says of itself."""
