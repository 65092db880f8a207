"""What a colony is: nouns, identities, envelopes, rules. No loop, no socket, no clock."""
