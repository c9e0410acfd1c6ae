//! What the scenarios under `golden/responses` promise, and what is refused by path.
