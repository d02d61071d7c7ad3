"""A small notification scheduler that asks the send-optimizer what to send, where and when."""
