"""Learning-rate schedules, the table of weight decay, optimizer chains."""
