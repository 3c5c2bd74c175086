"""Workers as decisions see them: eligibility, holdings, memory and kinds. Pure."""
