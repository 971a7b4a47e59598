"""The engine `void`: Netflix's VOID on CogVideoX-Fun 1.5, run through diffusers."""
