"""Which of many pairs deserve a trader's time: screened, walked, ranked, and judged as the many that they are."""
