//! How many tokens a model may think where its provider counts them. **The caller's limit stands**: in every dialect it holds
//! for thoughts and words together, so a budget of thinking gives way to it and is never added to it. What is less than was
//! asked for is listed; where the model does not think with so little, the call is refused, or goes without a thought where
//! the operator allows to drop that.

use crate::chat::{Effort, Reasoning};

use super::{Losses, Unsupported};

/// The budget for `reasoning`, which was asked for at `at`, of a model that thinks with `least` tokens or more. `most` is
/// the largest that fits below the limit; `None` without a limit. `None` comes back where there may be no thinking.
///
/// # Errors
/// [`Unsupported`] as [`Losses::lose`] gives it.
pub(crate) fn budget(
    reasoning: &Reasoning,
    at: &str,
    least: u64,
    most: Option<u64>,
    losses: &mut Losses,
) -> Result<Option<u64>, Unsupported> {
    let wanted = match reasoning.budget_tokens {
        Some(tokens) => tokens,
        None => {
            // What nobody asked for in words is ours to choose, and nothing of the caller's is lost by less of it.
            reasoning.effort.unwrap_or(Effort::Medium).budget_tokens()
        }
    };
    let budget = most.map_or(wanted, |most| wanted.min(most));
    if budget < least {
        let what = match most {
            Some(most) if most < least => format!(
                "thinking within the {most} tokens that the limit of the answer leaves, where the model thinks with \
                 {least} at least: raise the limit"
            ),
            _ => format!("a thinking budget below {least} tokens"),
        };
        return losses.lose(at, what).map(|()| None);
    }
    let is_asked = reasoning.budget_tokens.is_some() || reasoning.effort.is_some();
    let is_nearest = reasoning.budget_tokens.is_none() && reasoning.effort.is_some_and(|effort| !effort.is_counted());
    if is_nearest || is_asked && budget < wanted {
        losses.note(at);
    }
    Ok(Some(budget))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::OnUnsupported;
    use tollgate_interaction::Dialect;

    const AT: &str = "reasoning_effort";

    fn of(reasoning: Reasoning, most: Option<u64>, on: OnUnsupported) -> (Option<u64>, Vec<String>, Option<String>) {
        let mut losses = Losses::new(Dialect::Anthropic, on);
        let budget = budget(&reasoning, AT, 1_024, most, &mut losses).unwrap();
        let refused = losses.check().err().map(|refused| refused.to_string());
        (budget, losses.into_dropped(), refused)
    }

    fn effort(effort: Effort) -> Reasoning {
        Reasoning { effort: Some(effort), ..Reasoning::default() }
    }

    #[test]
    fn a_budget_gives_way_to_the_limit_and_says_so() {
        let listed = vec![AT.to_owned()];
        let refuse = OnUnsupported::Refuse;
        assert_eq!(of(effort(Effort::High), None, refuse), (Some(24_576), vec![], None));
        assert_eq!(of(effort(Effort::High), Some(24_576), refuse), (Some(24_576), vec![], None));
        assert_eq!(of(effort(Effort::High), Some(3_999), refuse), (Some(3_999), listed.clone(), None));
        assert_eq!(of(effort(Effort::Low), Some(3_999), refuse), (Some(1_024), vec![], None));
        let own = Reasoning { budget_tokens: Some(9_000), ..Reasoning::default() };
        assert_eq!(of(own, Some(3_999), refuse), (Some(3_999), listed, None));
        let unasked = Reasoning { enabled: Some(true), ..Reasoning::default() };
        assert_eq!(of(unasked, Some(3_999), refuse), (Some(3_999), vec![], None));
    }

    #[test]
    fn two_efforts_that_fall_together_are_listed() {
        for (said, tokens) in [(Effort::Minimal, 1_024), (Effort::ExtraHigh, 24_576), (Effort::Max, 24_576)] {
            let told = of(effort(said), None, OnUnsupported::Refuse);
            assert_eq!(told, (Some(tokens), vec![AT.to_owned()], None), "{said:?}");
        }
    }

    #[test]
    fn a_limit_too_small_to_think_in_is_refused_or_goes_without_a_thought() {
        let (budget, listed, refused) = of(effort(Effort::High), Some(499), OnUnsupported::Refuse);
        assert_eq!((budget, listed), (None, vec![]));
        let refused = refused.unwrap();
        assert!(refused.starts_with("`reasoning_effort` (thinking within the 499 tokens"), "{refused}");
        assert!(refused.contains("1024 at least: raise the limit"), "{refused}");
        let dropped = of(effort(Effort::High), Some(499), OnUnsupported::Drop);
        assert_eq!(dropped, (None, vec![AT.to_owned()], None));
    }
}
