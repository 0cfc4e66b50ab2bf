"""Which of many pairs deserve a trader's time: screened, ranked, walked, and judged as the many that they are."""
