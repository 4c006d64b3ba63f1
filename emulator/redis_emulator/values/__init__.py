"""What a key can hold. These classes know no client, no clock and no command."""
