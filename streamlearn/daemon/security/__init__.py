"""Who may do what: keys, the ZAP handler, rights and refusals."""
