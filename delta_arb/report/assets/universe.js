// Filters the cards of a universe by what they say.
document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const card of document.querySelectorAll(".card"))
    card.hidden = !card.textContent.toLowerCase().includes(wanted);
});
