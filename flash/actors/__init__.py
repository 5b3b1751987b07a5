"""Tasks that own a piece of state and are spoken to through a bounded mailbox."""
