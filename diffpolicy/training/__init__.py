"""Learning from demonstrations: windows over episodes, the loop, the average of its weights, and how it resumes."""
