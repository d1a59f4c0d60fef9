"""Raw sockets and stream framing: octets with the flow they came by, in batches; nothing here knows what they mean."""
