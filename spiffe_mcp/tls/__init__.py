"""Mutual TLS 1.3 as a value: bytes in, bytes and a verified SPIFFE ID out."""
