"""What several command modules share. No command is bound here."""
