"""One file per family: an objective becomes training rows (`rows`) and a behavioural test (`gate`)."""
