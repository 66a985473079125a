//! LLM backends of Konstruct: OpenAI, Anthropic, Ollama and the offline extract backend.
