"""The conformance kit itself: that the model says what the contract says, that wrong is found."""
