"""Find and splice fields at byte offsets, one body kind per file; no body is parsed and dumped."""
